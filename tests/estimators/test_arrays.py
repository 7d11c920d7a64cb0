"""Torch tensors in, torch tensors out, under scikit-learn's array-API dispatch."""

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone

from sklearn_unroll import LISTARegressor, Trainer
from sklearn_unroll.datasets import make_sparse_recovery
from sklearn_unroll.estimators._arrays import from_tensor, resolve_device, to_tensor


@pytest.mark.array_api
@pytest.mark.parametrize("dictionary", ["tensor", "array", None])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_tensors_stay_tensors_on_their_device(dictionary, dtype, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    data = make_sparse_recovery(40, n_features=6, n_components=9, random_state=0, dtype=dtype)
    X, y, D = (torch.from_numpy(a).to(device) for a in (data.X, data.y, data.dictionary))
    given = {"tensor": D, "array": data.dictionary, None: None}[dictionary]
    model = LISTARegressor(given, n_layers=3, trainer=Trainer(max_epochs=3), random_state=0)
    with sklearn.config_context(array_api_dispatch=True):
        model.fit(X, y, sample_weight=torch.ones(40, device=X.device))
        codes = model.predict(X)
        outputs = [codes, model.transform(X), model.inverse_transform(codes), model.dictionary_]
        for out in (*outputs, *model.staged_predict(X)):
            assert isinstance(out, torch.Tensor), type(out)
            assert out.dtype == X.dtype and out.device == X.device and not out.requires_grad
        assert isinstance(model.score(X, y), float) and isinstance(model.score(X), float)
        assert next(model.network_.parameters()).device == X.device
        with pytest.raises(ValueError, match="must use the same namespace"):
            model.predict(data.X)  # numpy, into a model fitted on tensors
    plain = clone(model).set_params(device=device)
    plain.set_params(dictionary=None if given is None else data.dictionary).fit(data.X, data.y)
    np.testing.assert_allclose(codes.cpu().numpy(), plain.predict(data.X), atol=1e-4)
    assert isinstance(plain.predict(X.cpu()), np.ndarray)  # without dispatch: numpy, as always


def test_read_only_memory_is_copied():
    X = np.ones((2, 3))
    X.flags.writeable = False
    tensor = to_tensor(X, dtype=torch.float32, device=torch.device("cpu"))
    assert tensor.dtype == torch.float32
    tensor[0, 0] = 5
    assert X[0, 0] == 1


@pytest.mark.parametrize(
    "view", [lambda a: a[::-1], np.asfortranarray, lambda a: a[:, ::2], lambda a: a.T]
)
def test_any_memory_layout(view):
    array = view(np.arange(12.0).reshape(3, 4))
    tensor = to_tensor(array, dtype=None, device=torch.device("cpu"))
    np.testing.assert_array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_from_tensor_follows_its_example(dtype):
    out = from_tensor(torch.ones(2, dtype=torch.float64), np.zeros(1, dtype=dtype))
    assert isinstance(out, np.ndarray)
    assert out.dtype == dtype


def test_auto_is_where_the_tensor_lives():
    assert resolve_device("auto", torch.ones(1)) == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto", np.ones(1)).type == expected
    assert resolve_device(torch.device("cpu"), np.ones(1)).type == "cpu"
