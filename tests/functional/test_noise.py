import torch

from sklearn_unroll.functional import (
    L1,
    Composite,
    Dense,
    LeastSquares,
    Logistic,
    Observation,
    layer_noise,
)


def test_noise_falls_with_the_gradient_of_the_problem_that_is_solved():
    generator = torch.Generator().manual_seed(0)
    A = Dense(torch.randn(5, 8, generator=generator, dtype=torch.float64))
    b = torch.randn(3, 8, generator=generator, dtype=torch.float64).sign()
    x, xi = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    for f in (LeastSquares(), Logistic()):
        problem = Composite.of(b, A, f, L1(0.1))
        size = problem.gradient(x).norm(dim=1, keepdim=True).log1p()
        torch.testing.assert_close(layer_noise(xi, 1, x, problem, "log_gradient"), size * xi)
    plain = layer_noise(xi, 1, x, Observation(b, A), "log_gradient")
    known = Composite.of(b, A, LeastSquares(), L1(0.1))
    torch.testing.assert_close(plain, layer_noise(xi, 1, x, known, "log_gradient"))
