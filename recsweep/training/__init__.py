"""How gradient-trained models are trained.

The modules, from the outside in:

    gradient_model  the common base of all gradient-trained recommenders
    loop            the epoch loop
    engine          a network's epochs and scores as compiled programs
    programs        a cache of compiled programs
    layers          the building blocks of the networks
    optimizers      the choices of `optimizer=`
    sparse          sums and products of a sparse batch
    backend         the differences between JAX and TensorFlow
    batches         sparse batches of fixed shape
    initializers    initial weights, the same on both backends
    schedules       learning rates and warm-ups as arrays over steps
"""
