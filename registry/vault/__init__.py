"""The content store: blobs by digest in the layout of a DVC cache; knows nothing of records."""
