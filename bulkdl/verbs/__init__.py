"""The verbs, the front door of the library. Each returns a report of `bulkdl.model.reports`."""
