"""MINER fits an image with a pyramid of small patches, each with a tiny network.

python -m miner.run photo.jpg [SETTING=VALUE ...]   fit an image, or with -m a sweep of settings
python -m miner.compare FOLDER ...                  compare runs: tables, plots and pictures
python -m miner.render FOLDER out.tif               write any level or region of a fitted image
python -m miner.evaluate RUN [IMAGE]                score what a run has stored against an image

Each explains itself with --help.
"""

if __name__ == "__main__":
    print(__doc__)
