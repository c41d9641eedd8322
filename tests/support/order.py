"""In which order files of tests are started, so that all cores end at about the same time, and none waits before."""

from __future__ import annotations

from collections.abc import Iterable

SECONDS = {
    "systems/test_clouds.py": 72,
    "systems/test_slurm_workers.py": 71,
    "systems/test_gridengine.py": 68,
    "systems/test_kubernetes.py": 60,
    "systems/test_scaling.py": 54,
    "world/test_chaos.py": 52,
    "processes/test_standing_master.py": 49,
    "processes/test_pools.py": 47,
    "processes/test_renewal.py": 44,
    "systems/test_contexts.py": 43,
    "systems/test_status_browser.py": 37,
    "processes/test_examples.py": 34,
    "systems/test_facility.py": 32,
    "systems/test_ssh.py": 32,
    "systems/test_jupyterlab.py": 31,
    "systems/test_slurm.py": 31,
    "systems/test_condor.py": 26,
    "processes/test_restart.py": 25,
    "systems/test_dask.py": 23,
    "systems/test_notebooks.py": 22,
    "master/test_access.py": 21,
    "test_docs.py": 21,
    "processes/test_embedded.py": 20,
    "processes/test_status_page.py": 20,
    "processes/test_session_more.py": 19,
    "processes/test_elastic.py": 18,
    "processes/test_session.py": 18,
    "processes/test_owners.py": 17,
    "worker/test_kernels.py": 16,
    "session/test_display.py": 14,
    "interop/test_all_files.py": 13,
    "processes/test_writes.py": 12,
    "worker/test_kernel_cache.py": 12,
    "interop/test_experiments.py": 11,
    "processes/test_slot_faults.py": 11,
    "processes/test_slots.py": 11,
    "processes/test_xrootd.py": 11,
    "master/test_owners.py": 10,
    "processes/test_ends.py": 10,
    "processes/test_kernel_rows.py": 10,
    "processes/test_relay.py": 10,
    "launch/test_launcher_worlds.py": 9,
    "processes/test_failed_part.py": 9,
    "processes/test_logs.py": 9,
    "processes/test_output_faults.py": 9,
    "processes/test_small_disks.py": 9,
    "worker/test_collections.py": 9,
    "dataset/test_generated.py": 8,
    "processes/test_credentials.py": 8,
    "processes/test_draws.py": 8,
    "processes/test_user_code.py": 8,
    "session/test_top.py": 8,
    "worker/test_lanes.py": 8,
    "processes/test_users.py": 7,
    "processes/test_variations.py": 7,
    "processes/test_watching.py": 7,
    "reading/test_root_answers.py": 7,
    "systems/test_context_form.py": 7,
    "systems/test_s3.py": 7,
    "worker/test_memory.py": 7,
    "world/test_simulator.py": 7,
    "analysis/test_module_values.py": 6,
    "interop/test_coffea_schemas.py": 6,
    "master/test_cluster_book.py": 6,
    "master/test_master_core.py": 6,
    "merge/test_miniature.py": 6,
    "processes/test_listed.py": 6,
    "processes/test_output_ends.py": 6,
    "processes/test_parquet.py": 6,
    "processes/test_wrong_peers.py": 6,
    "reading/test_damage.py": 6,
    "session/test_report.py": 6,
    "worker/test_corrections.py": 6,
    "worker/test_kernel_widths.py": 6,
    "worker/test_lease_journey.py": 6,
    "elastic/test_days.py": 5,
    "master/test_journal.py": 5,
    "reading/test_paths.py": 5,
    "worker/test_given.py": 5,
    "worker/test_prefetch.py": 5,
}
"""How long files take that take long, on two cores that have more to do; the longer part of those that have tests of both
tiers. Others take a second or two."""

WAITING = ("processes/", "systems/", "world/")
"""In these folders processes start and wait for each other; files of the others compute."""


def order(files: Iterable[str]) -> list[str]:
    """Of files, as in "merge/test_sums.py", long ones first: the last of all processes to end is to have a short one. Of
    those that wait and of those that compute, as large a part is to be begun at any time: beside a file that waits, there
    is to be one that computes."""
    every = sorted(set(files), key=lambda file: (-SECONDS.get(file, 1), file))
    places = {}
    for kind in ([it for it in every if it.startswith(WAITING)], [it for it in every if not it.startswith(WAITING)]):
        took = [SECONDS.get(file, 1) for file in kind]
        for number, file in enumerate(kind):
            places[file] = sum(took[:number]) / sum(took)
    return sorted(every, key=lambda file: places[file])
