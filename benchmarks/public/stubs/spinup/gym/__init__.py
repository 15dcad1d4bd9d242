"""The old interface of gym, on gymnasium."""

import sys

import gymnasium
from gymnasium import spaces

sys.modules["gym.spaces"] = spaces


class _Old:
    def __init__(self, env):
        self.env, self.spec = env, env.spec
        self.observation_space, self.action_space = env.observation_space, env.action_space

    def reset(self):
        return self.env.reset(seed=0)[0].astype("float32")

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation.astype("float32"), reward, terminated or truncated, info


def make(name):
    return _Old(gymnasium.make(name))
