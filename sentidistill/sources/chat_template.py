"""A chat template tried with limits, in a process of its own: python -P chat_template.py < JSON.

A template may compute for ever, within a single operation too, and only a process can be ended from outside.
"""

import json
import resource
import sys

USER = {"role": "user", "content": "Hello."}
CONVERSATIONS = [
    [USER],
    [{"role": "system", "content": "Be brief."}, USER],
    [USER, {"role": "assistant", "content": "Good day."}, USER],
]


def main() -> None:
    """Ends with an error, or is ended, where the template does not write a conversation within the limits."""
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    given = json.load(sys.stdin)
    seconds, memory, characters = given["limits"]
    _limit(seconds, memory)
    for conversation in CONVERSATIONS:
        try:
            rendered = render_jinja_template(
                [conversation],
                chat_template=given["template"],
                add_generation_prompt=True,
                enable_thinking=False,
                **given["tokens"],
            )
        except TemplateError as error:
            if conversation == [USER]:  # some templates refuse a system's turn
                sys.exit(f"{type(error).__name__}: {error}")
        except Exception as error:  # whatever the operations of a template raise
            sys.exit(f"{type(error).__name__}: {error}")
        else:
            if (length := sum(map(len, rendered[0]))) > characters:
                sys.exit(f"it writes {length:,} characters for a word")
            # Some leave out the system's turn; then it stands before the user's text.
            if any(turn["role"] != "system" and turn["content"] not in rendered[0][0] for turn in conversation):
                sys.exit("it leaves out what a turn says")


def _limit(seconds: int, memory: int) -> None:
    """Allow so much more processor time and memory from here on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds,) * 2)
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory,) * 2)


if __name__ == "__main__":
    main()
