"""The verbs: one module each, with an async function and its blocking twin; their parts are in the folders.

Most return a report of `model.reports`.
"""
