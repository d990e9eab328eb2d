"""Tables, plots, files and MLflow pages of a study.

The modules, from the outside in:

    run_records       all runs of a study as a tracker should have them
    mlflow_note       the page of the sweep in MLflow
    result            what a study came to, and how a sweep ends on the terminal
    plots             which plots there are, how to read them, and the page with all of them
    plots_matplotlib  the plots as PNG
    plots_plotly      the plots of the page
    plot_data         what the plots draw, with names and numbers for people
    importance        how much each hyperparameter explains
    result_files      trials.csv and optimization_results.yaml
    tables            the table of the best trials
    trial_record      what the run of a trial is called, logs and says
"""
