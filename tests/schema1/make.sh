# How `folders/` and `settings.json` were made, by commit e81fefd (version 0.1.0, run folders of schema 1).
# Afterwards pages, cards and the state of finished runs were removed, `{DATA}` was written for the folder of images,
# and `ladder-begun` was made of `ladder` without its last model and its result.
set -eu
s() { snellen "$@" >/dev/null; }
python -c "import squares, pathlib; squares.write(pathlib.Path('data'))"
s train moons --model mlp --hidden 4 --act tanh --average 0.9 --clip 1 --hard 0.5 --epochs 2 --out runs/classify
s train sine --model polynomial --order 3 --out runs/regress
s train data/masks --model unet --width 1 --depth 1 --cut 0.1 --turn --noise 0.1 --epochs 1 --out runs/segment
s train data/depth --model unet --width 1 --depth 1 --cut 0.1 --turn --average 0.9 --epochs 1 --out runs/pixels
s train data/boxes --task detect --model baseline --out runs/detect
s train data/boxes --task instances --model baseline --out runs/instances
s train data/keypoints --task keypoints --model baseline --out runs/keypoints
s ladder moons --budget 60 --models baseline,perceptron --out runs/ladder
s study moons --model perceptron --vary rate=0.1,1 --passes 2 --seeds 1 --out runs/study
snellen train data/masks --model unet --width 1 --depth 1 --cut 0.1 --turn --epochs 6 --save-every 0 --out runs/interrupted & p=$!
while ! grep -q '' runs/interrupted/state/manifest.json 2>/dev/null; do sleep 0.02; done; kill -TERM $p; wait $p || echo "ended with $?"
# custom-module: snellen.train("moons", model=nn.Sequential(nn.Linear(2, 2)), epochs=1, average=0.9), in Python
