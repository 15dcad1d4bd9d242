"""Find the minimum of the Rosenbrock function with LBFGS."""

import torch


def rosenbrock(point: torch.Tensor) -> torch.Tensor:
    x, y = point
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def main() -> None:
    point = torch.tensor([-1.5, 2.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([point], lr=1.0, max_iter=20, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        loss = rosenbrock(point)
        loss.backward()
        return loss

    for _ in range(5):
        loss = optimizer.step(closure)
    print(f"minimum near {point.tolist()}, loss {loss.item():.2e}")


if __name__ == "__main__":
    main()
