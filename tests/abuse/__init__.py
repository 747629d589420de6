"""Attacks by mass, and by strangers, on a live stack in virtual time: what it serves goes on, and nothing is left."""
