"""`python -m schemas`: publish new schema files into the lock file."""

from __future__ import annotations

from schemas.catalogue import publish


def main() -> None:
    """Appends every new file under schemas/avro to schemas/lock.json."""
    print(f"{publish()} new schema versions in lock.json")


if __name__ == "__main__":
    main()
