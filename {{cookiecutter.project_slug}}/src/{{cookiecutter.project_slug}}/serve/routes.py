{% set kind = {"image_classification": "image", "language_model": "text"}.get(cookiecutter.task, "table") %}
{% include "serve/" ~ kind ~ ".py" %}
