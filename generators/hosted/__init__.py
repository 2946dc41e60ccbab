"""Hosted models behind an OpenAI-compatible API: images, edits and chat, recorded as they answer.

    client = recorded_client("https://api.openai.com/v1", registry, key_env="OPENAI_API_KEY")
    data = client.image("a red mug on a blue table", model="gpt-image-1").data

Light to import; the network is only touched by a call.
"""
