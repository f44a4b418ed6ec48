from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from embeddings.encoders.base import EncoderError
from embeddings.encoders.preparing.prepare import require_libraries
from embeddings.samples import catalogue_samples


class Command(BaseCommand):
    help = (
        "Download a CLIP model if need be, export it to ONNX, and decide its precision: int8 where"
        " its vectors and nearest neighbours on the catalogue are close to torch's, else fp32."
        " Says which and why. Processes that run keep what they have loaded: restart them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="starter, a hub name, or a directory")
        parser.add_argument(
            "--precision",
            choices=("fp32", "int8"),
            default="int8",
            help="fp32 does not try int8; int8 (the default) is kept only where it is close",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            require_libraries()
            # torch takes seconds to import, and `manage.py help` imports every command.
            from embeddings.encoders.preparing.export import export_model

            done = export_model(
                options["model"],
                settings.MMSEARCH_MODEL_DIR,
                precision="fp32" if options["precision"] == "fp32" else "auto",
                samples=catalogue_samples,
                progress=self.stdout.write,
            )
        except EncoderError as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write(self.style.SUCCESS(f"Prepared in {done.prepared.directory}"))
