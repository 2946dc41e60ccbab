"""Bad days: a registry from its vault, a log that is behind, and how fresh this one is."""
