"""Tables, plots, files and MLflow pages of a study.

The modules, from the outside in:

    run_records       all runs of a study, as records for a tracker
    mlflow_note       the page of the sweep in MLflow
    dashboard         Optuna's dashboard of running studies, read only
    result            the outcome of a study, and its summary on the terminal
    plots             the list of plots, how to read them, and the page with all of them
    plots_matplotlib  the plots as PNG
    plots_plotly      the plots of the page
    plot_data         the data of the plots, with readable names and numbers
    edges             dimensions whose best values lie at an edge of the search
    importance        how much of the variance each hyperparameter explains
    result_files      trials.csv and optimization_results.yaml
    tables            the table of the best trials
    trial_record      the name, metrics and note of a trial's run
"""
