"""Wrong arguments, and words of the lines that refuse them."""

REFUSED = {  # arguments: words of the line
    "optimizer.lr=fast": ["optimizer.lr=fast:", "above 0"],
    # settings that exclude each other
    "fitting.batch_pixels=65": ["fitting.batch_pixels=65:", "64 pixels", "all"],
    "trainer.strategy=ddp trainer.num_nodes=2": ["trainer.num_nodes=2:", "srun", "NODE_RANK"],
    "-m fitting.chunk_size=4,8": ["fitting.chunk_size=4,8: is now fitting.blocks_per_shard=4,8"],
    # the image
    "image.path=missing.png": ["'missing.png'", "does not exist", "sample:astronaut"],
    "image.path=folder.png": ["'folder.png'", "folder", "one image file", "-m"],
    "image.path=*.png": ["'*.png'", "does not exist"],
    "image.path=''": ["image.path=:", "sample:NAME"],
    "image.path=été.png": ["'été.png' does not exist"],
    "image.max_pixels=479": ["'picture.png'", "24 x 20", "image.max_pixels to 480"],
    # the output folder
    "hydra.run.dir=text.png/run": ["hydra.run.dir=text.png/run", "cannot be written", "another"],
    "hydra.run.dir=saved": ["saved", "by hand", "another folder"],
    "resume=nowhere": ["resume=nowhere", "no run was begun", "hydra.run.dir=nowhere"],
    "resume=swept": ["resume=swept", "is a sweep", "hydra.sweep.dir=swept"],
    "resume=nowhere hydra.run.dir=else": ["resume=nowhere", "leave out"],
    "-m resume=nowhere": ["resume=nowhere", "single run", "hydra.sweep.dir"],
    # classes
    "optimizer._target_=torch.optim.LBFGS ~optimizer.betas": ["LBFGS", "adam"],
    # sweeps
    "-m trainer=ddp seed=0,1": ["trainer=ddp:", "one by one"],
    "-m seed=0,0": ["seed=0", "jobs 0 and 1", "the same", "leave one"],
    "-m logger=none,csv": ["logger=none or logger=csv:", "the same"],
    "-m experiment=search image=camera,brick": ["image:", "easiest of 2", "one at a time"],
    "-m experiment=search seed=0,1": ["seed:", "one at a time"],
    "-m optimizer.lr=interval(0,1)": ["optimizer.lr=interval(0,1):", "hydra/sweeper=optuna"],
    "-m image.path=picture.png,./picture.png": ["./picture.png", "the same"],
    "-m seed=0,1 hydra/launcher=submitit_slurm": ["=submitit_slurm:", "srun", "joblib"],
    "-m seed=0,1 hydra/launcher=submitit_local": [
        "=submitit_local:",
        "all 2 jobs at once",
        "hydra.sweeper.max_batch_size=2",
    ],
    "-m --cfg=job seed=0,1": ["--cfg=job:", "leave out -m"],
    "-m seed=0,1 hydra.sweep.dir=done": ["hydra.sweep.dir=done:", "single run", "another folder"],
    "-m seed=0,1 hydra.sweep.subdir=same": ["hydra.sweep.subdir=same"],
    "logger=null": ["logger=null:", "csv, none, tensorboard, wandb"],
    "pyramid=false": ["pyramid=false:", "gaussian, laplacian"],
    "logger=csv +logger.csv.nonsense=1": ["nonsense"],
    # what is missing, or depends on other settings
    "patch_size=${nowhere}": ["patch_size", "nowhere"],
    "-m image.path=picture.png,missing.png": ["'missing.png'"],
}

BY_HYDRA = {
    "pyramid=steerable": ["'pyramid/steerable'", "gaussian", "laplacian"],
    "fitting.max_step=4": ["'fitting.max_step'"],
    "patch_size": ["'patch_size'", "EQUAL"],
    "-m seed=0,1 fitting.max_step=4,5": ["'fitting.max_step'"],
    "-m seed=0,1 hydra/launcher=slurm": ["'hydra/launcher/slurm'", "joblib"],
}

OF_SETTINGS = {  # wrong whoever composed the settings
    "trainer.devices=2": ["trainer.devices=2:", "trainer=ddp"],
    "trainer.num_nodes=2": ["trainer.num_nodes=2:", "trainer=ddp"],
    "fitting.max_steps=[3,3,3]": ["fitting.max_steps=[3, 3, 3]:", "levels is 2", "n_levels"],
    "model.width=[6,5,4]": ["model.width=[6, 5, 4]:", "levels is 2", "n_levels"],
    "pyramid.n_levels=auto model.width=[6,5]": ["model.width=[6, 5]:", "n_levels"],
    "image.crop_px=0": ["image.crop_px=0:", "at least 1", "null"],
    "optimizer=adam optimizer.betas=[2,3]": ["optimizer", "Invalid beta", "2"],
    "+optimizer.beta=2": ["optimizer", "'beta'"],
    "optimizer._target_=torch.optim.Adams": ["optimizer._target_=torch.optim.Adams:"],
    "capacity=target_error +capacity.widest=3": ["capacity", "'widest'"],
    "objective=psnr_at_bits objective.cost=nonsense": ["objective.cost=nonsense", "file_bytes"],
    "activation=sine +activation.b=2": ["activation", "'b'"],
    "activation=sine activation._target_=torch.nn.ReLU": ["activation._target_=", "subclass"],
    "~activation._target_": ["activation._target_:", "class"],
    "logger=wandb logger.wandb.offline=maybe": ["logger.wandb.offline=maybe:"],
    "logger=wandb logger.wandb.tags=5": ["logger.wandb.tags=5:"],
}
