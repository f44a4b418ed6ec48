from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from embeddings.encoders.base import EncoderError
from embeddings.encoders.finding.model_files import local_files
from embeddings.encoders.finding.prepared import find_prepared
from embeddings.encoders.preparing.prepare import missing_libraries, require_libraries
from embeddings.encoders.serving.devices import uses_cuda
from embeddings.samples import catalogue_samples


class Command(BaseCommand):
    help = (
        "Download a model if need be and make it ready for this machine. Every tower is tried in"
        " each precision there is on the catalogue's own captions and pictures, and runs in the"
        " fastest whose vectors and nearest neighbours are close to torch's in full precision. Says"
        " what was tried; the table is kept in the model's manifest. Processes that run keep what"
        " they have loaded: restart them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="starter, a hub name, or a directory")
        parser.add_argument(
            "--precision",
            choices=("int8", "int8-dynamic", "bf16", "fp16", "fp32"),
            help="take this one, however far it is from full precision, and try nothing else",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        model, precision = options["model"], options["precision"]
        try:
            files = local_files(model)  # first: libraries help no name that names nothing
            device = "cuda" if uses_cuda(settings.MMSEARCH_DEVICE) else "cpu"
            prepared = find_prepared(settings.MMSEARCH_MODEL_DIR, files, device) if files else None
            if prepared is not None and precision is None and missing_libraries():
                self.stdout.write(
                    f"{model} is prepared already, in {prepared.directory}. To prepare it anew for"
                    " this machine, run `make install-all` first."
                )
                return
            require_libraries()
            # torch takes seconds to import, and `manage.py help` imports every command.
            from embeddings.encoders.preparing.export import export_model

            prepared = export_model(
                model,
                settings.MMSEARCH_MODEL_DIR,
                device=device,
                precision=precision,
                samples=catalogue_samples,
                progress=self.stdout.write,
            )
        except EncoderError as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write(self.style.SUCCESS(f"Prepared in {prepared.directory}"))
