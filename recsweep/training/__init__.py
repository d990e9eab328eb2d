"""How gradient-trained models are trained.

The modules, from the outside in:

    gradient_model  what all recommenders that are trained by gradient share
    loop            the epoch loop
    engine          a network's epochs and scores as compiled programs
    programs        compiled programs that are kept
    layers          what the networks are made of
    optimizers      what `optimizer=` names
    backend         where JAX and TensorFlow differ
    batches         sparse batches of fixed shape
    sparse          sums and products of a sparse batch
    schedules       learning rates and warm-ups as arrays over steps
    initializers    initial weights, the same on both backends
"""
