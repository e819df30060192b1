"""The verbs: one module each, with an async function and its blocking twin. Most return a report of `model.reports`."""
