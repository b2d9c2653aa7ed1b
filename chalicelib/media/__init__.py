"""Sound and films: opened without a way out of the file, looked at, decoded, and written anew.

    opening ──▶ looking ──▶ decoding ──┬─▶ picture ─▶ poster ─┐
                            (timeline) └─▶ sound ──▶ waveform ┴▶ writing

Everything goes frame by frame: a file that lasts longer takes more time, and no more memory. Of the original,
pictures and samples alone reach what is made of it: no tags, no place, no subtitles.
"""
