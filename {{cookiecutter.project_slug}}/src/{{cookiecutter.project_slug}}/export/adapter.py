{% include "task/" ~ cookiecutter.task ~ "/adapter.py" %}
