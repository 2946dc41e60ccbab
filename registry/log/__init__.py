"""The transparency log: append, read, prove, check; knows no meaning of a record beyond trust."""
