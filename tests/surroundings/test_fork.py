"""A warm client on both sides of a fork: every answer its own."""


def test_four_children_and_their_parent_each_get_their_own_answers(programs, server):
    report = programs.run("forking", server)
    assert report == {"right": [50] * 6, "exits": [0] * 4}


def test_over_tls_too(programs, serve, certificate):
    report = programs.run("forking", serve(certificate=certificate), REQUESTS_CA_BUNDLE=str(certificate))
    assert report == {"right": [50] * 6, "exits": [0] * 4}


def test_a_lock_that_another_thread_held_does_not_stop_the_child(programs, server):
    report = programs.run("forking_in_refresh", server)
    assert report == {"child": 0, "parent": [True], "asked": 2}


def test_multiprocessing_that_forks_inherits_the_client(programs, server):
    report = programs.run("processes", server, "fork")
    assert report["right"] == [20] * 3


def test_multiprocessing_that_spawns_makes_a_client_of_its_own(programs, server):
    report = programs.run("processes", server, "spawn")
    assert report["right"] == [20] * 3
    assert "create one in the process that uses it" in report["given"]
