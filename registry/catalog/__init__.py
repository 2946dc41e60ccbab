"""The projection: rows derived from the log, and every question that is answered from them."""
