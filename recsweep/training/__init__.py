"""How gradient-trained models are trained.

The modules, from the outside in:

    gradient_model  the common base of all gradient-trained recommenders
    loop            the epoch loop
    triples         triples of user, positive and negative item, for pairwise losses
    engine          a network's epochs and scores as compiled programs, on sparse batches
    slot_engine     the same on dense batches: a training in a slot of a program
    slots           trainings that advance together, an epoch at a time
    slot_programs   the compiled programs of all slots
    layout          sparse or dense batches, and how many slots a process has
    resident        interactions in a device's memory
    programs        a cache of compiled programs
    layers          the building blocks of the networks
    optimizers      the choices of `optimizer=`
    sparse          sums and products of a batch
    backend         the differences between JAX and TensorFlow
    phases          what the parts of an epoch train, with optimizers of their own
    batches         batches of fixed shape
    initializers    initial weights, the same on both backends
    schedules       learning rates and warm-ups as arrays over steps
"""
