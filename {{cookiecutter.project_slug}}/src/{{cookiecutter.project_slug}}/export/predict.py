{% set kind = {"image_classification": "image", "language_model": "text"}.get(cookiecutter.task, "table") %}
{% include "predict/" ~ kind ~ ".py" %}


{% include "predict/common.py" %}
