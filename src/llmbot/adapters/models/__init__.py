"""Model providers behind the `Model` port: Gemini, and whatever speaks OpenAI's protocol."""
