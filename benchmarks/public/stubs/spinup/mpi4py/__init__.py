"""A world of one process."""


class _World:
    def Get_rank(self):
        return 0

    def Get_size(self):
        return 1

    def Allreduce(self, given, taken, op=None):
        taken[...] = given

    def Bcast(self, given, root=0):
        pass


class MPI:
    COMM_WORLD = _World()
    SUM = MIN = MAX = None
