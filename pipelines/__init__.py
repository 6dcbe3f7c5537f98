"""What runs and when: definitions, the study component, jobs, schedules, sensors, the command line."""
