"""Two hosts of one installation, in one machine: what `docs/scale.md` claims, measured."""
