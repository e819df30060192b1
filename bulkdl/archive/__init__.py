"""Clients of archives: profiles, HTTP, logins, and one protocol for each kind of archive.

The endpoint tables serve the client and, in the other direction, the embedded archive.
"""
