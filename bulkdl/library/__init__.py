"""bulkdl as a library: the verbs of the command as functions, and an archive as an object. `import bulkdl` names them.

`verbs` holds the functions, each with an async twin; `archive` what `bulkdl.connect` gives; `records` what an archive
answers with; `blocking` how a function waits where an event loop runs already.
"""
