"""How fast and how frugal the index is, against limits measured in the same run: `make bench`, `python -m bench`.

Absolute figures say more about a machine than about Mintmark. So everything with a target is a ratio of two things
that took turns on the same machine within seconds, and the median of several such pairs.
"""
