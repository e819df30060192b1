"""The methods of a connected archive, for type checkers and editors: `endpoint_methods.pyi` declares each endpoint.

At run time there are those of the API of the archive, made of its endpoint tables.
"""


class EndpointMethods:
    """One method for each endpoint that any API has; see `bulkdl describe`."""
