"""What search sets up."""

from __future__ import annotations

from embeddings import schedules

schedules.each_minute_on_each_host("maintain index", "search.tasks.maintain_index")
schedules.each_minute("answer shadow queries", "search.tasks.answer_shadow_queries")
