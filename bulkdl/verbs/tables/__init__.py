"""Tables that verbs return or write: those of a journal, attributes of the files, and rows of responses as records."""
