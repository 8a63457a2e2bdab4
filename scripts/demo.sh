#!/usr/bin/env bash
# The main job end to end on a fresh machine with Python and bash: convert, train three stages, evaluate, look.
# Everything goes to demo_output/; a second run continues where the first one stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh

out=demo_output
records=$out/records

convert() { # FOLDER [options]
  local folder=$1
  shift
  echo "== convert demo/$folder"
  python scripts/make_tfrecords.py --dataset=folder --images="demo/$folder/images" --output="$records/$folder" "$@"
}

convert source --labels=demo/source/labels --classes=configs/classes/camvid11.json
convert target_train
convert target_val --labels=demo/target_val/labels --classes=configs/classes/camvid11.json
echo "== train three stages, evaluate, report"
python scripts/run_pipeline.py --config=configs/demo.py --title="Streets in clear light to streets at dusk" \
  --report="$out/report.html"
echo "== predict"
python scripts/predict.py --checkpoint="$out/runs/self_training" --images=demo/target_val/images \
  --output="$out/predictions"
echo "open $out/report.html in a browser"
