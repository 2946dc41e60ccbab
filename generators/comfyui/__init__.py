"""ComfyUI: workflows in API format, run on a server and recorded node by node.

    comfy = recorded_comfyui("http://127.0.0.1:8188", registry, models=["ComfyUI/models"])
    receipt = comfy.run("mug.api.json").receipt

Light to import; the extra `comfyui` brings the WebSocket client.
"""
