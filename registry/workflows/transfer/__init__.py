"""Moving a registry: export, backup, import, upgrade. Each leaves a whole result, or none."""
