"""The JSON Schemas of what `--json` prints, one a verb, generated from the answers themselves.

`python -m registry.cli.schemas FOLDER` writes them; a test holds the committed ones to this.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.cli import answers as own
from registry.core import (
    answers,
    bank_answers,
    campaigns,
    draft_answers,
    fingerprint_answers,
    ingest_answers,
    privacy,
    recovery_answers,
    remote_answers,
    replay_answers,
    search_answers,
    transfers,
    trust_answers,
    witness_answers,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
BASE = "https://w3id.org/genops/schema/cli/"
ERROR = "error"


def answer_types() -> Mapping[str, Any]:
    """Return the type that each verb answers with, by the name of its schema.

    `evidence` prints an evidence file, which has a schema of its own.
    """
    from registry.core.find_answers import FindReport, FoundFile
    from registry.core.look_up import FindResult, LookUpCalibration

    return {
        "init": own.HomeView,
        "doctor": answers.DoctorReport,
        "serve": own.Served,
        "generate": answers.Receipt,
        "train-lora": answers.Receipt,
        "demo": own.DemoReport,
        "campaign plan": campaigns.CampaignPlan,
        "campaign run": campaigns.CampaignStatus,
        "campaign resume": campaigns.CampaignStatus,
        "campaign status": campaigns.CampaignStatus,
        "campaign approve": campaigns.Approvals,
        "campaign deliver": campaigns.Delivery,
        "campaign verify": campaigns.DeliveryCheck,
        "write": own.WrittenText,
        "hosted image": remote_answers.HostedAnswer,
        "hosted chat": remote_answers.HostedAnswer,
        "comfyui run": remote_answers.ComfyRun,
        "comfyui workflow": remote_answers.ComfyWorkflow,
        "keys list": list[own.KeyView],
        "keys show": own.KeyView,
        "keys generate": trust_answers.NewKey,
        "keys add": trust_answers.TrustChanged,
        "keys rotate": trust_answers.TrustChanged,
        "keys revoke": trust_answers.TrustChanged,
        "keys compromise": trust_answers.TrustChanged,
        "keys affected": trust_answers.AffectedReport,
        "keys reattest": trust_answers.ReattestReport,
        "keys propose": trust_answers.ProposalView,
        "keys sign": trust_answers.ProposalView,
        "keys submit": trust_answers.TrustChanged,
        "keys passphrase": trust_answers.PassphraseChanged,
        "record": answers.Ingested,
        "ingest": ingest_answers.IngestReport,
        "list": list[answers.AssetSummary],
        "search": search_answers.SearchReport,
        "search fields": list[search_answers.SearchField],
        "search saved": list[search_answers.SavedSearch],
        "search forget": search_answers.SavedSearch,
        "show": answers.Passport,
        "verify": own.VerificationReport,
        "find": FindResult | FindReport | FoundFile,
        "find calibrate": LookUpCalibration,
        "lineage": answers.Lineage,
        "impact": answers.Impact,
        "taint": answers.Receipt,
        "review": answers.Receipt,
        "gate": answers.GateReport,
        "reproduce": answers.Reproduction,
        "reproduce audit": replay_answers.AuditReport,
        "reproduce calibrate": replay_answers.Calibrations,
        "diff": replay_answers.DiffReport,
        "read": own.Written,
        "erase": privacy.ErasureReport,
        "hold place": list[answers.Receipt],
        "hold lift": answers.Receipt,
        "hold list": list[privacy.HoldView],
        "retention show": privacy.RetentionView,
        "retention plan": privacy.RetentionReport,
        "retention run": privacy.RetentionReport,
        "drafts list": list[draft_answers.DraftView],
        "drafts keep": draft_answers.KeptReport,
        "drafts expire": draft_answers.ExpiryReport,
        "bank create": answers.Receipt,
        "bank add": bank_answers.BankAdded,
        "bank remove": bank_answers.BankRemoved,
        "bank list": list[bank_answers.BankView],
        "bank show": bank_answers.BankPage,
        "bank import": bank_answers.BankImport,
        "bank export": bank_answers.BankExport,
        "match confirm": bank_answers.MatchVerdictView,
        "match refute": bank_answers.MatchVerdictView,
        "match list": list[bank_answers.MatchVerdictView],
        "subject find": privacy.SubjectReport,
        "subject export": privacy.SubjectExport,
        "subject erase": privacy.ErasureReport,
        "subject certify": privacy.CertificateView,
        "subject verify": privacy.CertificateView,
        "policy lint": own.PolicyLint,
        "policy test": own.PolicyTest,
        "log head": witness_answers.CosignedHead,
        "log consistency": witness_answers.LogConsistency,
        "log export-tiles": witness_answers.ExportedTiles,
        "log witness key": witness_answers.WitnessKey,
        "log witness add": witness_answers.WitnessKey,
        "log witness add-log": witness_answers.WitnessKey,
        "log witness list": witness_answers.Witnesses,
        "log witness follow": list[witness_answers.Followed],
        "log witness submit": witness_answers.CosignedHead,
        "log witness keep": witness_answers.CosignedHead,
        "log check": answers.LogReport,
        "log recover": recovery_answers.RecoverReport,
        "log entry": own.LogRecord,
        "log prove": own.LogProof,
        "verify-evidence": own.EvidenceView | own.EvidenceBundleView,
        "catalog rebuild": own.Rebuilt,
        "catalog check": own.CatalogCheck,
        "catalog fingerprint": fingerprint_answers.FingerprintReport,
        "catalog models": list[own.ModelView],
        "catalog add-model": answers.Receipt,
        "mirror sync": list[answers.MirrorReport],
        "mirror status": list[answers.MirrorReport],
        "mirror check": own.MirrorCheck,
        "mirror retry": list[recovery_answers.RetryReport],
        "export": transfers.ExportReport,
        "backup": transfers.ExportReport,
        "import": transfers.ImportReport,
        "restore": recovery_answers.RestoreReport,
        "upgrade": transfers.UpgradeReport,
        ERROR: own.ErrorReport,
    }


def file_name(verb: str) -> str:
    """Return the name of a verb's schema file: `log head` has `log-head.v1.json`."""
    return f"{verb.replace(' ', '-')}.v1.json"


def schema(verb: str) -> dict[str, Any]:
    """Return the JSON Schema of one verb's answer."""
    from pydantic import TypeAdapter
    from pydantic.json_schema import GenerateJsonSchema

    class AllRequired(GenerateJsonSchema):
        """Says of every field that it is there: answers are printed whole, defaults and all."""

        def field_is_required(self, field: Any, total: Any) -> bool:  # noqa: ARG002
            return True

    adapter = TypeAdapter(answer_types()[verb])
    body = adapter.json_schema(mode="serialization", schema_generator=AllRequired)
    identity = f"{BASE}{verb.replace(' ', '-')}/v1"
    title = "any verb that fails" if verb == ERROR else f"`genops {verb}`"
    return {"$schema": DIALECT, "$id": identity, **body, "title": f"The JSON of {title}"}


def text(verb: str) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema(verb), indent=2, ensure_ascii=False) + "\n"


def write(folder: Path) -> None:
    """Write every schema into a folder."""
    for verb in answer_types():
        (folder / file_name(verb)).write_text(text(verb), "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
