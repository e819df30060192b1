"""The journal of a mirror. Only this package and the served catalogue import sqlite3."""
