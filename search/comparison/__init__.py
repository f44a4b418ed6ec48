"""Two spaces compared: by texts that people asked, by judged queries, by people's verdicts."""
