"""The reports of the verbs: counts, failures, problems; a module for each, so that a verb imports only its report."""
