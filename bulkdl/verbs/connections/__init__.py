"""Connections to archives and services: which one a verb asks, how it is reached, and the endpoints that it has."""
