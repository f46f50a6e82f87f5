"""Snapshots of a cache on the hub: `push` sends splits there, `pull` brings single layers here.

Stage 2 of whoever pulls starts without having run a model; nothing is used unchecked.
"""
