"""One module a revision, frozen once released."""
