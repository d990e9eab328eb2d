#!/usr/bin/env bash
# Builds the environments of the libraries we are timed against: benchmarks/peers.sh [FOLDER]
#
# FOLDER (default: the repository root; a relative one counts from there) gets .venv-recbole,
# .venv-cornac and .venv-irspack. They are apart from ours and from each other, because they want
# different NumPys.
# A second run installs nothing; changing a pin below rebuilds that environment. PYTHON names the
# interpreter, 3.11 being the one tried. torch comes as pip finds it: without a CPU-only wheel
# among pip's links, that is several GB of CUDA packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=${1:-.}
python=${PYTHON:-python3.11}

# RecBole 1.2.1 uses np.float_ and np.unicode_, which NumPy 2 dropped, and fills columns in place in
# a way that pandas 3 ignores. With the last releases before those it needs no shim.
recbole=(
  recbole==1.2.1 torch==2.13.0 numpy==1.26.4 pandas==2.3.3 scipy==1.17.1 scikit-learn==1.9.1
  tensorboard==2.21.0 ray==2.6.3 thop==0.1.1.post2209072238 plotly==7.1.0 PyYAML==6.0.3
  tabulate==0.10.0 texttable==1.7.2 psutil==7.2.2 tqdm==4.70.1
)
# Cornac asks for NumPy 2, and imports torch without declaring it.
cornac=(cornac==2.3.5 torch==2.13.0 numpy==2.4.6 scipy==1.17.1 powerlaw==2.0.0 tqdm==4.70.1)
# irspack's MultVAE imports Haiku, JAX and Optax without declaring them; JAX is ours.
irspack=(
  irspack==0.5.2 dm-haiku==0.0.17 jax==0.10.2 jaxlib==0.10.2 optax==0.2.8 numpy==2.4.6
  scipy==1.17.1 pandas==3.1.1 scikit-learn==1.9.1 optuna==5.0.0
)

# install ENVIRONMENT PIN...: builds it, unless a finished one with just these pins is there.
install() {
  local environment=$1 pins="${*:2}"
  if [[ "$(cat "$environment/pins.txt" 2>/dev/null)" == "$pins" ]]; then
    echo "$environment is up to date"
    return
  fi
  "$python" -m venv --clear "$environment"
  "$environment/bin/python" -m pip install --quiet "${@:2}"
  "$environment/bin/python" -m pip check
  echo "$pins" >"$environment/pins.txt"
}

mkdir -p "$folder"
install "$folder/.venv-recbole" "${recbole[@]}"
install "$folder/.venv-cornac" "${cornac[@]}"
install "$folder/.venv-irspack" "${irspack[@]}"
