"""What users do with a registry, one module a deed; each takes `Services` and returns an answer."""
