"""What the arms of a suite are now, by the hashes of their configs."""

from contextlib import suppress

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from ganlab.config.compose import compose
from ganlab.suites import identity
from ganlab.suites.suite import Suite


def configs(suite: Suite) -> dict[str, str]:
    """By arm; one that does not compose here, such as for want of a config of one's own, has none."""
    found = {}
    for arm in suite.arms.values():
        with suppress(HydraException, OmegaConfBaseException, ValueError):
            found[arm.name] = identity.config(compose(*suite.base, *arm.overrides))
    return found
