"""The command line: verbs over the façade, as text for people and JSON for programs."""
